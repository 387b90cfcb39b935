-- DropIndex
DROP INDEX "leases_expires_at_ms_idx";

-- DropTable
DROP TABLE "leases";

-- AlterTable
ALTER TABLE "chunks" RENAME COLUMN "storage_ref" TO "etag";

-- AlterTable
ALTER TABLE "uploads" DROP COLUMN "staged";
ALTER TABLE "uploads" DROP COLUMN "storage_id";
