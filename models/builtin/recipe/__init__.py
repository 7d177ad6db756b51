"""The data of the built-in model: scenes, their pictures, their captions, and the published evaluation prompts."""
