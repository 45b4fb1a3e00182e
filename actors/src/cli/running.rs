//! Which running pool a command talks to.

use std::path::{Path, PathBuf};

use clap::Args;
use pspawn::{
    Cookie, Error, OutputFormat, OutputLine, Pool, RunningPool, RuntimeFileError, StartError,
    Terminal,
};

use super::place::Place;

/// The options by which every command finds its pool.
#[derive(Args, Clone, Debug)]
pub(super) struct Running {
    /// The running pool of this name; needed only where several run
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// The pool whose master this is, as `pspawn start` prints it: for pools of another user or home
    #[arg(long, value_name = "NODE@HOST:PORT", conflicts_with = "pool",
          value_parser = Place::with_port)]
    master: Option<Place>,
    /// The secret of that pool; the default is in ~/.pspawn.cookie
    #[arg(long, value_name = "FILE", requires = "master")]
    cookie_file: Option<PathBuf>,
}

impl Running {
    /// Joins the pool as a node that nobody sees.
    pub(super) async fn connect(&self) -> Result<Pool, Error> {
        self.connect_showing(OutputFormat::default()).await
    }

    /// The same; what actors print that are started from here goes to `output`.
    pub(super) async fn connect_with(
        &self,
        output: impl Fn(&OutputLine) + Send + Sync + 'static,
    ) -> Result<Pool, Error> {
        let running = self.find()?;
        Ok(Pool::connect_to(running, output).await?)
    }

    /// The same; output is shown so, on standard error: standard output has the result alone.
    pub(super) async fn connect_showing(&self, format: OutputFormat) -> Result<Pool, Error> {
        let running = self.find()?;
        Ok(Pool::connect_on(running, Terminal::on_stderr(format)).await?)
    }

    /// The same; none if no pool is running and none was asked for.
    pub(super) async fn connect_if_any(&self) -> Result<Option<Pool>, Error> {
        match self.find() {
            Ok(running) => {
                let terminal = Terminal::on_stderr(OutputFormat::default());
                Ok(Some(Pool::connect_on(running, terminal).await?))
            }
            Err(Error::Start(StartError::Runtime(RuntimeFileError::NoneRunning { .. }))) => {
                Ok(None)
            }
            Err(why) => Err(why),
        }
    }

    fn find(&self) -> Result<RunningPool, Error> {
        let Some(master) = &self.master else {
            let found = RunningPool::find(self.pool.as_deref());
            return found.map_err(|why| StartError::Runtime(why).into());
        };
        let node = master.node;
        Ok(RunningPool {
            name: node.name().trim_end_matches("-master").to_owned(),
            master: node.to_string(),
            address: master.address(None)?,
            os_pid: 0, // nobody asks
            cookie: cookie(self.cookie_file.as_deref())?,
            heartbeat: None, // nobody has said
        })
    }
}

/// The secret in this file, or else that of the user.
pub(super) fn cookie(file: Option<&Path>) -> Result<Cookie, Error> {
    let cookie = match file {
        Some(path) => Cookie::from_file(path),
        None => Cookie::from_home(),
    };
    cookie.map_err(|why| StartError::Cookie(why).into())
}
