#!/bin/sh
# What the image of orthancteam does with its settings, for Debian's Orthanc: those that infra/docker/docker-compose.yml sets.
umask 077
cat >/tmp/orthanc.json <<END
{
  "Name": "orthanc", "StorageDirectory": "/var/lib/orthanc/db", "IndexDirectory": "/var/lib/orthanc/db", "RemoteAccessAllowed": true,
  "DicomAet": "$ORTHANC__DICOM_AET", "DicomCheckCalledAet": $ORTHANC__DICOM_CHECK_CALLED_AET, "DicomPort": 4242, "HttpPort": 8042,
  "AuthenticationEnabled": $ORTHANC__AUTHENTICATION_ENABLED, "RegisteredUsers": $ORTHANC__REGISTERED_USERS
}
END
exec Orthanc /tmp/orthanc.json
