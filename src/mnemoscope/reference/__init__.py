"""What is known: planted models, the small world, and the trained reference model."""
