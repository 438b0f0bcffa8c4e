"""The Ray Serve application that answers predictions and follows the registry's aliases."""
