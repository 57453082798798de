//! libtpa_shim.
