use std::sync::Arc;

use rainstorm_engine::function::{Registry, registry};
use rainstorm_engine::time::{ClockRef, SimulatedClock};

use super::*;
use crate::session::Session;
use crate::statement::Statement;
use crate::{Planner, parse, script::Script};

fn clock() -> ClockRef {
    Arc::new(SimulatedClock::new(0))
}

/// Makes a session with the tables of these tests.
fn session() -> Session {
    let text = "
        CREATE TABLE bid (
          auction BIGINT, bidder BIGINT, price BIGINT, extra STRING, dateTime TIMESTAMP(3),
          WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND
        ) WITH ('connector' = 'filesystem', 'path' = '/bid', 'format' = 'json');
        CREATE TABLE Auction (id BIGINT, seller BIGINT, item ROW<name STRING, initialBid BIGINT>)
        WITH ('connector' = 'filesystem', 'path' = '/auction', 'format' = 'json');
        CREATE FUNCTION count_c(s STRING) RETURNS BIGINT
        RETURN CHAR_LENGTH(s) - CHAR_LENGTH(REPLACE(s, 'c', ''));
        CREATE TABLE out (price BIGINT, price2 AS price * 2) WITH ('connector' = 'blackhole');";
    let mut session = Session::default();
    let script = Script { text: text.to_owned(), ..Script::default() };
    Planner::new(&clock()).plan(&mut session, &script).expect("definitions are valid");
    session
}

fn resolve(sql: &str) -> Result<Query, SqlErrors> {
    let functions: Registry = registry(&clock());
    let session = session();
    let context = QueryContext { session: &session, functions: &functions, base_directory: None };
    match parse::parse_script(sql).expect("parses").remove(0).statement {
        Statement::Query(query) => resolve_query(context, &query),
        Statement::Insert(inserts) => {
            resolve_insert(context, &inserts[0]).map(|resolved| *resolved.source)
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    let resolved = resolve(sql).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(resolved.to_string(), expected);
}

#[track_caller]
fn check_errors(sql: &str, expected: &[&str]) {
    let errors = resolve(sql).expect_err("has errors");
    let errors: Vec<String> =
        errors.0.iter().map(|error| format!("{} {error}", error.code)).collect();
    assert_eq!(errors, expected);
}

#[test]
fn names_get_their_declared_spelling() {
    check(
        "SELECT DATETIME, B.Price FROM BID AS b WHERE b.BIDDER > 1 ORDER BY datetime",
        "SELECT dateTime, b.price FROM bid AS b WHERE b.bidder > 1 ORDER BY dateTime",
    );
    check("SELECT BID.price FROM Bid", "SELECT bid.price FROM bid");
    check(
        "SELECT a.ITEM.initialbid FROM auction a",
        "SELECT a.item.initialBid AS `initialBid` FROM Auction a",
    );
    check("SELECT item.NAME FROM auction", "SELECT item.name AS `name` FROM Auction");
}

#[test]
fn windowing_table_functions_add_their_columns() {
    check(
        "SELECT window_START, COUNT(*) FROM TABLE(TUMBLE(TABLE BID, DESCRIPTOR(datetime), INTERVAL '10' SECOND)) GROUP BY window_start",
        "SELECT window_start, COUNT(*) AS `COUNT(*)` FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) GROUP BY window_start",
    );
    check(
        "SELECT w.price FROM TABLE(HOP(DATA => TABLE Bid, TIMECOL => DESCRIPTOR(DateTime), SLIDE => INTERVAL '2' SECOND, SIZE => INTERVAL '10' SECOND)) AS w",
        "SELECT w.price FROM TABLE(HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(dateTime), SLIDE => INTERVAL '2' SECOND, SIZE => INTERVAL '10' SECOND)) AS w",
    );
}

#[test]
fn scopes_nest() {
    check(
        "WITH m AS (SELECT MAX(price) AS Best FROM bid) SELECT BEST, x.p FROM M, (SELECT price AS P FROM bid) x WHERE EXISTS (SELECT 1 FROM auction WHERE ID = X.P)",
        "WITH m AS (SELECT MAX(price) AS Best FROM bid) SELECT Best, x.P FROM m, (SELECT price AS P FROM bid) x WHERE EXISTS (SELECT 1 AS `1` FROM Auction WHERE id = x.P)",
    );
    check(
        "SELECT price AS P FROM bid UNION ALL SELECT id FROM auction ORDER BY p",
        "SELECT price AS P FROM bid UNION ALL SELECT id FROM Auction ORDER BY P",
    );
}

#[test]
fn functions_written_as_expressions_are_expanded() {
    check(
        "SELECT count_c(EXTRA) FROM bid",
        "SELECT CAST((CHAR_LENGTH(CAST((extra) AS STRING)) - CHAR_LENGTH(REPLACE(CAST((extra) AS STRING), 'c', ''))) AS BIGINT) AS `count_c(EXTRA)` FROM bid",
    );
    check_errors(
        "SELECT count_c(extra, 1) FROM bid",
        &["type 1:8: function 'count_c' takes 1 argument, not 2"],
    );
}

#[test]
fn all_unknown_names_are_reported_at_once() {
    check_errors(
        "SELECT pric, b.biddr, CHARLENGTH(extra), b.*, x.*\nFROM bid b JOIN auctions ON bidder = 1",
        &[
            "unknown_column 1:16: 'b' has no column 'biddr' (did you mean 'bidder'?)",
            "unknown_function 1:23: there is no function 'CHARLENGTH' (did you mean 'CHAR_LENGTH'?)",
            "unknown_table 1:47: there is no table 'x' in this query",
            "unknown_table 2:17: there is no table or view 'auctions' (did you mean 'Auction'?)",
        ],
    );
    check_errors(
        "SELECT pric FROM bid WHERE c.price = 1 AND item.nam = 2",
        &[
            "unknown_column 1:8: there is no column 'pric' (did you mean 'price'?)",
            "unknown_column 1:28: there is no table or column 'c' in this query",
            "unknown_column 1:44: there is no table or column 'item' in this query",
        ],
    );
}

#[test]
fn fields_are_checked_where_types_are_known() {
    check_errors(
        "SELECT item.nam, id.x FROM auction",
        &[
            "unknown_column 1:13: 'item' has no field 'nam' (did you mean 'name'?)",
            "type 1:21: 'id' is of type BIGINT and has no field 'x'",
        ],
    );
}

#[test]
fn a_name_in_two_tables_is_ambiguous() {
    check_errors(
        "SELECT price FROM bid a, bid b",
        &["ambiguous 1:8: column 'price' is ambiguous (write a.price or b.price)"],
    );
    check(
        "SELECT price FROM bid a JOIN bid b USING (PRICE)",
        "SELECT price FROM bid a JOIN bid b USING(price)",
    );
}

#[test]
fn wildcards_over_several_tables_are_their_columns() {
    check(
        "SELECT * FROM (SELECT id FROM auction) a JOIN (SELECT id, seller FROM auction) b ON a.id = b.seller",
        "SELECT `a`.`id`, `b`.`id` AS `id0`, `b`.`seller` FROM (SELECT id FROM Auction) a JOIN (SELECT id, seller FROM Auction) b ON a.id = b.seller",
    );
    check(
        "SELECT b.*, a.* FROM (SELECT id FROM auction) a, (SELECT id FROM auction) b",
        "SELECT `b`.`id`, `a`.`id` AS `id0` FROM (SELECT id FROM Auction) a, (SELECT id FROM Auction) b",
    );
    check_errors(
        "SELECT 1 FROM bid JOIN bid ON 1 = 1",
        &[
            "ambiguous 1:24: there are two tables 'bid' in this query (give one of them another name with AS)",
        ],
    );
}

#[test]
fn columns_of_using_come_once_and_first() {
    check(
        "SELECT * FROM bid a LEFT JOIN (SELECT id AS price, seller FROM auction) b USING (PRICE)",
        "SELECT `a`.`price`, `a`.`auction`, `a`.`bidder`, `a`.`extra`, `a`.`dateTime`, `b`.`seller` FROM bid a LEFT JOIN (SELECT id AS price, seller FROM Auction) b USING(price)",
    );
    check(
        "SELECT b.* FROM (SELECT id FROM auction) a NATURAL JOIN (SELECT seller, id FROM auction) b",
        "SELECT `b`.`seller`, `b`.`id` FROM (SELECT id FROM Auction) a NATURAL JOIN (SELECT seller, id FROM Auction) b",
    );
    check(
        "SELECT * FROM (SELECT id FROM auction) a LEFT SEMI JOIN (SELECT seller FROM auction) b ON a.id = b.seller",
        "SELECT `a`.`id` FROM (SELECT id FROM Auction) a LEFT SEMI JOIN (SELECT seller FROM Auction) b ON a.id = b.seller",
    );
    check_errors(
        "SELECT * FROM (SELECT id FROM auction) a FULL JOIN (SELECT id FROM auction) b USING (id)",
        &[
            "unsupported 1:53: FULL JOIN … USING is not supported (write ON a.k = b.k, and COALESCE(a.k, b.k))",
        ],
    );
}

#[test]
fn fetch_is_limit() {
    check("SELECT id FROM auction FETCH FIRST ROW ONLY", "SELECT id FROM Auction LIMIT 1");
    check(
        "SELECT id FROM auction OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY",
        "SELECT id FROM Auction LIMIT 3 OFFSET 2 ROWS",
    );
    check_errors(
        "SELECT id FROM auction FETCH FIRST 3 ROWS WITH TIES",
        &["unsupported 1:36: FETCH … WITH TIES is not supported"],
    );
    check_errors(
        "SELECT id FROM auction LIMIT 5 FETCH FIRST 3 ROWS ONLY",
        &["unsupported 1:44: LIMIT together with FETCH is not supported (write one of them)"],
    );
}

#[test]
fn syntax_of_others_is_refused_by_its_name() {
    let errors = [
        (
            "SELECT TOP 3 id FROM auction",
            "unsupported 1:1: TOP is not supported (write LIMIT 3 at the end)",
        ),
        (
            "SELECT * FROM auction PIVOT (sum(id) FOR seller IN (1, 2))",
            "unsupported 1:15: PIVOT is not supported",
        ),
        (
            "SELECT * FROM auction MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS id > 1)",
            "unsupported 1:15: MATCH_RECOGNIZE is not supported",
        ),
        (
            "SELECT 1 FROM (SELECT id FROM auction) AS t TABLESAMPLE (10 PERCENT)",
            "unsupported 1:16: TABLESAMPLE is not supported",
        ),
        (
            "SELECT * EXCEPT (id) FROM auction",
            "unsupported 1:8: * EXCEPT is not supported (name the columns)",
        ),
        (
            "SELECT auction.* EXCLUDE (id) FROM auction",
            "unsupported 1:8: * EXCLUDE is not supported (name the columns)",
        ),
        (
            "SELECT 1 FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(dateTime), INTERVAL '1' MINUTE))",
            "unsupported 1:35: PARTITION BY of a session window is not supported (use TUMBLE or HOP)",
        ),
        (
            "SELECT UPPER(extra) FILTER (WHERE FALSE) FROM bid",
            "type 1:8: UPPER is no aggregate and takes no FILTER",
        ),
        (
            "INSERT INTO out PARTITION (price = 1) SELECT 1",
            "invalid_statement 1:28: the table is not PARTITIONED BY 'price'",
        ),
        (
            "SELECT SUBSTR(extra) FROM bid",
            "unsupported 1:15: SUBSTRING of one argument is not supported (say from where: SUBSTRING(text, 1, 3))",
        ),
        (
            "SELECT count(*) FROM bid GROUP BY sum(price)",
            "type 1:35: aggregate functions are not allowed in GROUP BY (compute it in a query of its own, in FROM)",
        ),
        (
            "SELECT id FROM auction WHERE sum(id) OVER () > 1",
            "type 1:30: window functions are not allowed in WHERE (compute it in a query of its own, in FROM)",
        ),
        (
            "SELECT 1 FROM auction JOIN bid ON max(id) = (SELECT max(price) FROM bid)",
            "type 1:35: aggregate functions are not allowed in ON (compute it in a query of its own, in FROM)",
        ),
        (
            "WITH a(x) AS (SELECT 1, 2) SELECT * FROM a",
            "type 1:6: the table has 2 columns, its alias names 1",
        ),
        ("VALUES (1, 2), (3)", "type 1:16: row 2 of VALUES has 1 value, the first has 2"),
        (
            "SELECT TIMESTAMPADD(DAYS, 1, dateTime) FROM bid",
            "type 1:8: TIMESTAMPADD does not know the unit DAYS (did you mean 'DAY'?)",
        ),
    ];
    for (sql, error) in errors {
        check_errors(sql, &[error]);
    }
}

#[test]
fn targets_of_inserts_are_checked() {
    check_errors(
        "INSERT INTO Out (prices, price2) SELECT price, bidderr FROM bid",
        &[
            "unknown_column 1:18: table 'out' has no column 'prices' (did you mean 'price'?)",
            "invalid_statement 1:26: column 'price2' is computed and cannot be written",
            "unknown_column 1:48: there is no column 'bidderr' (did you mean 'bidder'?)",
        ],
    );
    check_errors(
        "INSERT INTO outt SELECT 1",
        &["unknown_table 1:13: there is no table or view 'outt' (did you mean 'out'?)"],
    );
}

#[test]
fn calls_that_stand_for_other_expressions_become_those() {
    check(
        "SELECT MOD(auction, 10), IF(price > 1, 'a', 'b') AS x FROM bid WHERE hour(dateTime) = 1",
        "SELECT ((auction) % (10)) AS `MOD(auction, 10)`, CASE WHEN price > 1 THEN 'a' ELSE 'b' END AS x FROM bid WHERE EXTRACT(HOUR FROM dateTime) = 1",
    );
    check(
        "SELECT TIMESTAMPDIFF(SECOND, dateTime, now()) AS d, FLOOR(dateTime TO HOUR) AS h, TIMESTAMPADD(MINUTE, -5, dateTime) AS t FROM bid",
        "SELECT TIMESTAMPDIFF('SECOND', dateTime, now()) AS d, date_trunc('hour', dateTime) AS h, ((dateTime) - (INTERVAL '5 MINUTE')) AS t FROM bid",
    );
    check_errors("SELECT MOD(price) FROM bid", &["type 1:8: MOD takes 2 arguments, not 1"]);
}

#[test]
fn fields_are_columns_of_their_own_name() {
    check(
        "SELECT ITEM.name, a.item.initialbid AS b, a.id FROM auction a",
        "SELECT item.name AS `name`, a.item.initialBid AS b, a.id FROM Auction a",
    );
    check(
        "SELECT id, item.* FROM auction",
        "SELECT id, item.`name` AS `name`, item.`initialBid` AS `initialBid` FROM Auction",
    );
    check(
        "SELECT x.Name FROM (SELECT item.name FROM auction) x",
        "SELECT x.name FROM (SELECT item.name AS `name` FROM Auction) x",
    );
}

#[test]
fn texts_in_double_quotes_are_explained() {
    check_errors(
        "SELECT price FROM bid WHERE extra = \"xyz\"",
        &["unknown_column 1:37: there is no column 'xyz' (texts stand in single quotes: 'xyz')"],
    );
}

#[test]
fn tables_around_come_before_columns_without_such_a_field() {
    check(
        "SELECT price FROM bid item WHERE EXISTS (SELECT 1 FROM auction a WHERE a.id = item.price AND item.initialBid > 1)",
        "SELECT price FROM bid item WHERE EXISTS (SELECT 1 AS `1` FROM Auction a WHERE a.id = ``.item.price AND item.initialBid > 1)",
    );
    check(
        "SELECT id FROM auction a WHERE EXISTS (SELECT 1 FROM bid WHERE price = a.item.initialbid)",
        "SELECT id FROM Auction a WHERE EXISTS (SELECT 1 AS `1` FROM bid WHERE price = a.item.'initialBid')",
    );
}

#[test]
fn elements_are_those_of_columns_of_tables() {
    check("SELECT A.Item['name'] AS n FROM auction a", "SELECT a.item['name'] AS n FROM Auction a");
}

#[test]
fn subqueries_that_cannot_be_joined_are_refused_with_their_place() {
    let errors = [
        (
            "SELECT 1 FROM bid b WHERE EXISTS (SELECT DISTINCT ON (a.id) 1 FROM auction a WHERE a.id = b.price)",
            "unsupported 1:55: DISTINCT ON is not supported (use GROUP BY, with FIRST_VALUE or MIN for the others)",
        ),
        (
            "SELECT 1 FROM bid b WHERE EXISTS (SELECT 1 FROM auction WHERE b.price IN (SELECT price FROM out))",
            "unsupported 1:63: IN of a column of the query around is not supported (write the condition into that query)",
        ),
        (
            "SELECT 1 FROM bid b WHERE EXISTS (SELECT 1 FROM auction WHERE id IN (SELECT 1 FROM out WHERE price = b.auction))",
            "unsupported 1:104: 'auction' of a query further out than the next is not supported (use joins)",
        ),
    ];
    for (sql, error) in errors {
        check_errors(sql, &[error]);
    }
}
