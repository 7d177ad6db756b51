"""What comes in over HTTP: the guard before everything, and the routes behind it."""
