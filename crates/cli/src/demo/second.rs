//! The demo's second process: this same program, run on the same database.

use std::process::Stdio;

use async_trait::async_trait;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::load::LoadReport;
use crate::error::CliError;
use crate::settings::Settings;
use roas_app::startup::{Component, ComponentError};

/// Spawned by its start, killed by its stop where it is still there.
#[derive(Debug)]
pub(super) struct SecondProcess {
    settings: Settings,
    arguments: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl SecondProcess {
    pub(super) fn new(settings: &Settings, arguments: Vec<String>) -> Self {
        Self {
            settings: settings.clone(),
            arguments,
            child: Mutex::default(),
        }
    }

    /// Waits for its end, and answers what it did.
    pub(super) async fn report(&self) -> Result<LoadReport, CliError> {
        let child = self.child.lock().await.take();
        let child =
            child.ok_or_else(|| CliError::Other("the second process is not running".to_owned()))?;
        let output = child
            .wait_with_output()
            .await
            .map_err(CliError::io("cannot wait for the second process"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(CliError::Other(format!(
                "the second process failed ({}): {}",
                output.status,
                said.lines().last().unwrap_or("it said nothing")
            )));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| CliError::Other(format!("the second process's answer: {error}")))
    }
}

#[async_trait]
impl Component for SecondProcess {
    async fn start(&self) -> Result<(), ComponentError> {
        let child = Command::new(std::env::current_exe()?)
            .args(&self.arguments)
            // The settings are decided: the other process is not to decide them once more.
            .envs(self.settings.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        *self.child.lock().await = Some(child);
        Ok(())
    }

    async fn stop(&self) -> Result<(), ComponentError> {
        match self.child.lock().await.take() {
            Some(mut child) => Ok(child.kill().await?),
            None => Ok(()),
        }
    }
}
