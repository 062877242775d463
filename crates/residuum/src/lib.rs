//! Residual networks: residuum.
