/** What the processes of a pool say to each other. A snapshot is what a process has counted, as text. */
export type FromWorker =
  | { type: 'up'; url: string }
  | { type: 'metrics-wanted' }
  | { type: 'metrics-told'; round: number; snapshot: string }

export type FromPrimary =
  | { type: 'metrics-asked'; round: number }
  | { type: 'metrics-all'; snapshots: readonly string[] }
