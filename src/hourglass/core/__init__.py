"""The idea: an autoencoder is a network, a corruption, a bottleneck, a loss and penalties, trained by one loop."""
