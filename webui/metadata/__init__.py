"""What picture files say of how they were made: read out of any file, written into ours."""
