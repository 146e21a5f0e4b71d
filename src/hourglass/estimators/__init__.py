"""scikit-learn's contract over the core: one estimator a modality, and wrappers for tasks."""
