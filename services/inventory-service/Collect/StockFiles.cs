namespace Yizhan.Inventory.Collect;

/// <summary>CSV and XLSX files in a folder: each is read twice, first all of it to know that it can be read, then to record it. So a file is taken whole or not at all.</summary>
internal sealed class StockFiles(DropFolder folder)
{
    private const int RowsPerBatch = 1000;

    /// <summary>Takes what is there.</summary>
    public async Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        var files = folder.Settled(source, ".csv", ".txt", ".xlsx");
        foreach (var path in files)
        {
            var file = await DropFolder.InspectAsync(path, cancellationToken);
            try
            {
                foreach (var row in StockTable.Read(file, source.Location))
                {
                    cancellationToken.ThrowIfCancellationRequested();
                }
            }
            catch (Exception e) when (e is FormatException or InvalidDataException or System.Xml.XmlException)
            {
                sink.Refuse(e is FormatException ? e.Message : $"{Path.GetFileName(path)} is no workbook: {e.Message}");
                continue;
            }

            var before = sink.Problem;
            var number = 0;
            foreach (var chunk in StockTable.Read(file, source.Location).Chunk(RowsPerBatch))
            {
                foreach (var (_, item) in chunk)
                {
                    if (item is not null)
                    {
                        await sink.EnsureItemAsync(item, cancellationToken);
                    }
                }

                await sink.RecordAsync($"{file.Digest[..16]}-{number++}", [.. chunk.Select(c => c.Movement)], cancellationToken);
            }

            if (sink.Problem == before)
            {
                DropFolder.Done(file);
            }
        }

        return files.Count > 0;
    }
}

/// <summary>Inventories of agents in a folder.</summary>
internal sealed class AgentFiles(DropFolder folder)
{
    private const int MaxBytes = 32 * 1024 * 1024;

    /// <summary>Takes what is there.</summary>
    public async Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        var files = folder.Settled(source, ".json", ".xml", ".ocs");
        foreach (var path in files)
        {
            if (new FileInfo(path).Length > MaxBytes)
            {
                sink.Refuse($"{Path.GetFileName(path)} has {new FileInfo(path).Length} bytes; accepted: up to {MaxBytes}.");
                continue;
            }

            var file = await DropFolder.InspectAsync(path, cancellationToken);
            try
            {
                foreach (var report in Equipment.AgentReport.Read(await File.ReadAllBytesAsync(path, cancellationToken), source.Name, file.Digest[..32], file.ModifiedMs))
                {
                    await sink.ReportAsync(report, cancellationToken);
                }

                DropFolder.Done(file);
            }
            catch (FormatException e)
            {
                sink.Refuse($"{Path.GetFileName(path)}: {e.Message}");
            }
        }

        return files.Count > 0;
    }
}
