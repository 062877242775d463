//! Residual networks: kernels.
