"""What the way from source to features, and a whole retrain cycle, cost beside plain scripts."""
