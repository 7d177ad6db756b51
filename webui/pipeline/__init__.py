"""From a request to a picture: pure stages that ask for network work instead of doing it."""
