//! Residual networks: graph.
