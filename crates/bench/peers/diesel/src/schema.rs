//! roas-bench's table as diesel knows it, and the functions of SQLite that its statement takes.

use diesel::sql_types::{BigInt, Double};

diesel::table! {
    /// A row for each member of a guild.
    activity_meter (guild_id, user_id) {
        /// The guild.
        guild_id -> BigInt,
        /// The member.
        user_id -> BigInt,
        /// The member's score.
        score -> Double,
        /// When the last message was written, in seconds since 1970.
        last_msg -> BigInt,
        /// How many messages were counted.
        messages -> BigInt,
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// SQLite's `min` of two scores.
    #[sql_name = "min"]
    fn lesser_score(a: Double, b: Double) -> Double;
    /// SQLite's `max` of two scores.
    #[sql_name = "max"]
    fn greater_score(a: Double, b: Double) -> Double;
    /// SQLite's `max` of two times.
    #[sql_name = "max"]
    fn later(a: BigInt, b: BigInt) -> BigInt;
}
