//! Rainstorm's end-to-end, SQL, simulation, fault and repository-rule tests.
