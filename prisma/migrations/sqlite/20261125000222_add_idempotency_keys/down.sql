-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "idempotency_keys";
PRAGMA foreign_keys=on;
