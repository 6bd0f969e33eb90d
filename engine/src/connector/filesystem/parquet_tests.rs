//! Times in Parquet files.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::source_tests::{Files, PARQUET};

const JULIAN_DAY_OF_1970: u32 = 2_440_588;

/// Returns a file of a column `t` of times.
fn times(unit: TimeUnit, numbers: &[i64]) -> Vec<u8> {
    let numbers = Int64Array::from_iter_values(numbers.iter().copied());
    let times: ArrayRef = cast(&numbers, &DataType::Timestamp(unit, None)).unwrap();
    let rows = RecordBatch::try_from_iter([("t", Arc::clone(&times))]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

/// Returns a file of a column `t` of times of twelve bytes: days since 1970 and nanoseconds.
fn long_times(times: &[(i32, u64)]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type("message m { optional int96 t; }").unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let time = |(day, nanos): &(i32, u64)| {
        let mut time = Int96::new();
        let day = JULIAN_DAY_OF_1970.wrapping_add_signed(*day);
        time.set_data(*nanos as u32, (*nanos >> 32) as u32, day);
        time
    };
    let values = times.iter().map(time).collect::<Vec<_>>();
    let levels = vec![1; values.len()];
    column.typed::<Int96Type>().write_batch(&values, Some(&levels), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

async fn check(file: &[u8], columns: &str, expected: &[&str]) {
    let files = Files::new(&[("t/x.parquet", file)]);
    assert_eq!(files.rows(PARQUET, columns).await.unwrap(), expected, "{columns}");
}

#[tokio::test]
async fn times_before_1970_are_rounded_down() {
    let expected = ["1969-12-31T23:59:59.999", "1969-12-31T23:59:59.998", "1970-01-01T00:00:00"];
    check(&times(TimeUnit::Microsecond, &[-1, -1001, 0]), "t TIMESTAMP", &expected).await;
    let nanos = times(TimeUnit::Nanosecond, &[-1, -1_000_001, 1]);
    check(&nanos, "t TIMESTAMP", &expected).await;
    let micros =
        ["1969-12-31T23:59:59.999999", "1969-12-31T23:59:59.998999", "1970-01-01T00:00:00"];
    check(&nanos, "t TIMESTAMP6", &micros).await;
    let long = long_times(&[(-1, 86_399_999_999_999), (-1, 86_399_998_999_999), (0, 1)]);
    check(&long, "t TIMESTAMP", &expected).await;
    check(&long, "t TIMESTAMP6", &micros).await;
}

#[tokio::test]
async fn times_of_twelve_bytes_have_all_years() {
    // The last day of the year 9999, and the first of the year 1.
    let long = long_times(&[(2_932_896, 86_399_999_000_001), (-719_162, 0)]);
    let expected = ["9999-12-31T23:59:59.999", "0001-01-01T00:00:00"];
    check(&long, "t TIMESTAMP", &expected).await;
    let micros = ["9999-12-31T23:59:59.999000", "0001-01-01T00:00:00"];
    check(&long, "t TIMESTAMP6", &[micros[0].trim_end_matches("000"), micros[1]]).await;
    let files = Files::new(&[("t/x.parquet", &long)]);
    let error = files.rows(PARQUET, "t TIMESTAMP9").await.unwrap_err();
    let causes = crate::Error::causes(&error).join(": ");
    assert!(causes.contains("a time does not fit into TIMESTAMP(9)"), "{error}: {causes}");
    let near = long_times(&[(0, 1), (-1, 86_399_999_999_999)]);
    let nanos = ["1970-01-01T00:00:00.000000001", "1969-12-31T23:59:59.999999999"];
    check(&near, "t TIMESTAMP9", &nanos).await;
}
