-- AlterTable
ALTER TABLE "uploads" ADD COLUMN "storage_id" TEXT;
ALTER TABLE "uploads" ADD COLUMN "staged" BOOLEAN NOT NULL DEFAULT false;

-- AlterTable
ALTER TABLE "chunks" RENAME COLUMN "etag" TO "storage_ref";

-- CreateTable
CREATE TABLE "leases" (
    "upload_id" TEXT NOT NULL,
    "place" TEXT NOT NULL,
    "owner" TEXT NOT NULL,
    "token" TEXT NOT NULL,
    "expires_at_ms" BIGINT NOT NULL,
    "idle_since_ms" BIGINT,
    "wanted" BOOLEAN NOT NULL DEFAULT false,

    PRIMARY KEY ("upload_id", "place")
);

-- CreateIndex
CREATE INDEX "leases_expires_at_ms_idx" ON "leases"("expires_at_ms");
