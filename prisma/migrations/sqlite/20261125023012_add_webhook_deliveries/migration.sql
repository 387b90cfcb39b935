-- CreateTable
CREATE TABLE "webhook_deliveries" (
    "seq" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "event_id" TEXT NOT NULL,
    "endpoint" TEXT NOT NULL,
    "upload_id" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'PENDING',
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "due_at_ms" BIGINT NOT NULL,
    "claim" TEXT,
    "last_error" TEXT,
    "recorded_at_ms" BIGINT NOT NULL,
    "last_attempt_at_ms" BIGINT
);

-- CreateIndex
CREATE INDEX "webhook_deliveries_endpoint_state_due_at_ms_idx" ON "webhook_deliveries"("endpoint", "state", "due_at_ms");

-- CreateIndex
CREATE INDEX "webhook_deliveries_state_seq_idx" ON "webhook_deliveries"("state", "seq");

-- CreateIndex
CREATE INDEX "webhook_deliveries_upload_id_idx" ON "webhook_deliveries"("upload_id");

-- CreateIndex
CREATE UNIQUE INDEX "webhook_deliveries_event_id_endpoint_key" ON "webhook_deliveries"("event_id", "endpoint");
