"""What an autoencoder tells of a scene: its code, and how badly it is rebuilt."""
