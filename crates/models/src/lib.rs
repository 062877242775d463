//! Residual networks: models.
