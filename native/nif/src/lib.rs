//! The boundary to the BEAM.
