//! Residual networks: train.
