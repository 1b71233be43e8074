//! A component of one's own beside the meter: started after it, stopped before it.
//!
//! `cargo run -p roas-app --example component`

#![expect(clippy::print_stdout, reason = "an example prints what it shows")]

use std::time::Duration;

use async_trait::async_trait;
use roas_app::{Component, ComponentError, ComponentSpec, MeterComponent, StartupManager};
use roas_db::Config;

/// Greets with the number of members when the bot starts, and says goodbye when it stops.
struct Greeter {
    meter: MeterComponent,
}

#[async_trait]
impl Component for Greeter {
    async fn start(&self) -> Result<(), ComponentError> {
        let service = self.meter.service().await.ok_or("the meter is down")?;
        println!("{} members", service.counts().await?.members);
        Ok(())
    }

    async fn stop(&self) -> Result<(), ComponentError> {
        println!("goodbye");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let meter = MeterComponent::new(Config::new(folder.path().join("roas.db")));
    let mut bot = StartupManager::new([
        ComponentSpec::new("meter", meter.clone()),
        ComponentSpec::new("greeter", Greeter { meter }).depends_on(["meter"]),
    ])?;
    assert!(bot.start().await?.is_complete());
    // The bot runs here, until a signal for example.
    assert!(bot.shutdown(Duration::from_secs(20)).await.is_clean());
    Ok(())
}
