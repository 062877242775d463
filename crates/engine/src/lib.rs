//! Residual networks: engine.
