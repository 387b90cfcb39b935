-- CreateTable
CREATE TABLE "uploads" (
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

-- CreateTable
CREATE TABLE "chunks" (
    "upload_id" TEXT NOT NULL,
    "chunk_index" INTEGER NOT NULL,
    "size" BIGINT NOT NULL,
    "status" TEXT NOT NULL,
    "checksum_sha256" TEXT,
    "etag" TEXT,
    "retry_count" INTEGER NOT NULL DEFAULT 0,
    "created_at" DATETIME NOT NULL,
    "updated_at" DATETIME NOT NULL,

    PRIMARY KEY ("upload_id", "chunk_index"),
    CONSTRAINT "chunks_upload_id_fkey" FOREIGN KEY ("upload_id") REFERENCES "uploads" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);

-- CreateIndex
CREATE INDEX "uploads_owner_id_created_at_id_idx" ON "uploads"("owner_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "uploads_owner_id_status_created_at_id_idx" ON "uploads"("owner_id", "status", "created_at", "id");

-- CreateIndex
CREATE INDEX "uploads_status_expires_at_idx" ON "uploads"("status", "expires_at");

-- CreateIndex
CREATE INDEX "uploads_deleted_at_idx" ON "uploads"("deleted_at");
