"""What drift reports cost, and how often they are wrong when nothing changed."""
