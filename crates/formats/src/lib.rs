//! Residual networks: formats.
