"""Figures of merit for detections in one series: pure functions of labels, flags and scores in the order of time."""
