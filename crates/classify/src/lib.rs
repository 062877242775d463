//! Residual networks: classify.
