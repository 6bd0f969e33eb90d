//! Scalar functions of Flink's that DataFusion lacks.
