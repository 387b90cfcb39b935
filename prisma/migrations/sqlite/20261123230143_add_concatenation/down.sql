-- RedefineTables
PRAGMA defer_foreign_keys=ON;
PRAGMA foreign_keys=OFF;
CREATE TABLE "new_uploads" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "owner_id" TEXT NOT NULL,
    "dialect" TEXT NOT NULL,
    "file_name" TEXT NOT NULL,
    "file_size" BIGINT,
    "chunk_size" BIGINT NOT NULL,
    "status" TEXT NOT NULL,
    "content_type" TEXT,
    "metadata" JSONB NOT NULL,
    "checksum_sha256" TEXT,
    "offset" BIGINT NOT NULL DEFAULT 0,
    "append_offset" BIGINT,
    "stored_chunks" INTEGER NOT NULL DEFAULT 0,
    "failure_reason" TEXT,
    "created_at" DATETIME NOT NULL,
    "updated_at" DATETIME NOT NULL,
    "expires_at" DATETIME NOT NULL,
    "deleted_at" DATETIME
);
INSERT INTO "new_uploads" ("append_offset", "checksum_sha256", "chunk_size", "content_type", "created_at", "deleted_at", "dialect", "expires_at", "failure_reason", "file_name", "file_size", "id", "metadata", "offset", "owner_id", "status", "stored_chunks", "updated_at") SELECT "append_offset", "checksum_sha256", "chunk_size", "content_type", "created_at", "deleted_at", "dialect", "expires_at", "failure_reason", "file_name", "file_size", "id", "metadata", "offset", "owner_id", "status", "stored_chunks", "updated_at" FROM "uploads";
DROP TABLE "uploads";
ALTER TABLE "new_uploads" RENAME TO "uploads";
CREATE INDEX "uploads_owner_id_created_at_id_idx" ON "uploads"("owner_id", "created_at", "id");
CREATE INDEX "uploads_owner_id_status_created_at_id_idx" ON "uploads"("owner_id", "status", "created_at", "id");
CREATE INDEX "uploads_status_expires_at_idx" ON "uploads"("status", "expires_at");
CREATE INDEX "uploads_deleted_at_idx" ON "uploads"("deleted_at");
PRAGMA foreign_keys=ON;
PRAGMA defer_foreign_keys=OFF;
