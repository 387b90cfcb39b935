-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "signing_keys";
PRAGMA foreign_keys=on;
