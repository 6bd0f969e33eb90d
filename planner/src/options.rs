//! How DataFusion plans.

use datafusion::config::ConfigOptions;

/// Returns the options under which SQL is planned.
pub(crate) fn options() -> ConfigOptions {
    let mut options = ConfigOptions::new();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = true;
    // As Flink: a null is less than every value.
    "nulls_min".clone_into(&mut options.sql_parser.default_null_ordering);
    options
}
