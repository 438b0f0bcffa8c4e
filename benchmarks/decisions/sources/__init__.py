"""Where the histories of the decision benchmark come from, and how each is made."""
