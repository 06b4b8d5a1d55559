"""What a model's input means: its shape, range, preprocessing and classes, as declared beside it or searched for."""
