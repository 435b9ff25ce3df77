"""The library every method calls: settings, run folders, data, devices, metrics, reports. It never names a method."""
