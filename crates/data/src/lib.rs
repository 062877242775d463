//! Residual networks: data.
