// Fails at once.

throw new Error("nothing works <b>here</b>");
