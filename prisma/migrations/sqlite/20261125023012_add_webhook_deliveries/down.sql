-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "webhook_deliveries";
PRAGMA foreign_keys=on;
