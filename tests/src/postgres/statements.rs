use super::PostgresServer;
use crate::services::random_name;

impl PostgresServer {
    /// The statements that connections under `application` have run since the server's last start, in order.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn statements(&self, application: &str) -> Vec<String> {
        // What was answered before this mark was logged before it.
        let mark = random_name("mark");
        self.connect().await.batch_execute(&format!("SELECT '{mark}'")).await.expect("a mark");
        self.log().find("the mark", |line| line.0.contains(&mark)).await;
        let prefix = format!("[{application}] LOG:  ");
        let lines = self.log().lines();
        lines.iter().filter_map(|line| statement(line.0.strip_prefix(&prefix)?)).map(str::to_owned).collect()
    }
}

/// The first line of the statement, by whichever protocol it came.
fn statement(logged: &str) -> Option<&str> {
    let (how, statement) = logged.split_once(": ")?;
    (how == "statement" || how.starts_with("execute ")).then_some(statement)
}
