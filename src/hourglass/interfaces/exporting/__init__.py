"""A fitted model as one file that other runtimes score with: scaling, network, scorers and threshold in one graph."""
