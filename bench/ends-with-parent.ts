/** Loaded before a child process: it does not outlive the process that started it. */

process.once('disconnect', () => process.exit());
