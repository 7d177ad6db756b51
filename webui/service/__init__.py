"""Where the pieces are put together: models found, the engine built, pictures kept. Left of it nothing knows of files."""
