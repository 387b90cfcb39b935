-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "owner_usage";
PRAGMA foreign_keys=on;
