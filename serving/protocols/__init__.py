"""The protocols that clients speak: pure parsing and rendering, without a web framework."""
